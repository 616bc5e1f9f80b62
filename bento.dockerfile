{% extends bento_base_template %}
{% block SETUP_BENTO_ENTRYPOINT %}
{{ super() }}
{# bentoml serve listens on every interface and opens a second port that asks nobody for a token: the guarded one is run #}
ENV PYTHONPATH="{{ bento__path }}/src" TOUCHSTONE_WORKSPACE=/workspace
WORKDIR /workspace
ENTRYPOINT ["python", "-m", "touchstone"]
CMD ["serve", "--host", "0.0.0.0", "--port", "3000"]
{% endblock %}
