// Asks a stand-in for Salesforce as jsforce does, and prints what came as JSON. The address is the argument.
const jsforce = require("jsforce");

async function main(address) {
  const oauth2 = { clientId: "standin-client", clientSecret: "standin-secret", loginUrl: address };
  const salesforce = new jsforce.Connection({ oauth2, instanceUrl: address, version: "62.0" });
  await salesforce.authorize({ grant_type: "client_credentials" });
  const soql = "SELECT Id, Email FROM Lead ORDER BY SystemModstamp, Id";
  const pages = await salesforce.query(soql, { autoFetch: true, maxFetch: 1000 });
  const ids = pages.records.map((lead) => lead.Id);
  const fields = (await salesforce.sobject("Lead").describe()).fields.map((field) => field.name);

  salesforce.bulk2.pollInterval = 10;
  const exported = [];
  const stream = await salesforce.bulk2.query("SELECT Id, Email FROM Lead ORDER BY Id");
  for await (const lead of stream) exported.push(lead.Id);

  const grades = [{ Id: ids[0], Score_Grade__c: "A" }, { Id: "00Q000000000099999", Score_Grade__c: "B" }];
  const updated = await salesforce.sobject("Lead").update(grades, { allOrNone: false });
  const job = { object: "Lead", operation: "update", input: grades, pollInterval: 10 };
  const results = await salesforce.bulk2.loadAndWaitForResults(job);
  const expired = new jsforce.Connection({ instanceUrl: address, accessToken: "of yesterday", version: "62.0" });
  const refused = await expired.query(soql).catch((error) => error.errorCode);
  console.log(JSON.stringify({
    ids, fields, exported, refused,
    updated: updated.map((one) => one.success),
    succeeded: results.successfulResults.map((one) => one.sf__Id),
    failed: results.failedResults.map((one) => [one.Id, one.sf__Error]),
  }));
}

main(process.argv[2]).catch((error) => {
  console.error(error);
  process.exit(1);
});
