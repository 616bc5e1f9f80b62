"""How a score is learned and judged: snapshots, labels, model, calibration, backtest, registry."""
