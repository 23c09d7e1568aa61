"""The pages of the host's own routes: HTML and CSS, no script and no outside request.

Knows the shape of an OpenAPI document, and nothing of who asks.
"""

from __future__ import annotations

_STYLE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>API Host</title>
<style>
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:3rem auto;padding:0 1rem}
td,th{padding:.2rem 1rem .2rem 0;vertical-align:top;text-align:left}
code,pre{font-family:ui-monospace,monospace;overflow-wrap:anywhere}pre{overflow-x:auto}
details{margin:.4rem 0}summary{cursor:pointer}small{opacity:.7}
</style>
"""

SIGN_IN_PAGE = (
    _STYLE
    + """<h1>API Host</h1>
<form method="post" action="/docs"><label>Access token, as the host printed it when it started:
<input type="password" name="token" required autofocus autocomplete="off"></label> <button>Show</button></form>
"""
)

DOCS_PAGE = (
    _STYLE
    + """{% macro kind(schema) -%}
{%- if schema.get('$ref') -%}{% set name = schema['$ref'].rsplit('/', 1)[-1] -%}
object: <a href="#{{ name }}">{{ name.split('.', 1)[-1] }}</a>
{%- elif 'anyOf' in schema -%}
{%- for choice in schema.anyOf %}{{ kind(choice) }}{% if not loop.last %} or {% endif %}{% endfor -%}
{%- elif 'enum' in schema -%}{% for value in schema.enum -%}
{{ value if value is string and value else value | tojson }}{% if not loop.last %}, {% endif %}{% endfor -%}
{%- elif schema.get('type') == 'array' -%}list of {{ kind(schema.get('items', {})) }}
{%- elif schema.get('properties') -%}object of {{ schema.properties | join(', ') }}
{%- elif 'type' in schema -%}{{ schema.type if schema.type is string else schema.type | join(' or ') }}
{%- else -%}anything{%- endif -%}
{%- for word, sign in (('minimum', '≥'), ('exclusiveMinimum', '>'), ('maximum', '≤'), ('exclusiveMaximum', '<'),
  ('minLength', 'length ≥'), ('maxLength', 'length ≤'), ('minItems', 'items ≥'), ('maxItems', 'items ≤')) -%}
{%- if word in schema %} {{ sign }} {{ schema[word] }}{% endif -%}{%- endfor -%}
{%- endmacro %}
{% macro fields(schema) %}<table><tr><th>field<th>type and range<th>default
{%- for name, field in schema.get('properties', {}).items() %}
<tr><td><code>{{ name }}</code>{% if name in schema.get('required', []) %} <small>required</small>{% endif %}
<td>{{ kind(field) }}<td>
{%- if 'default' in field and field.default is not none %}<code>{{ field.default | tojson }}</code>{% endif %}
{%- endfor %}
</table>{% endmacro %}
<h1>{{ document.info.title }} {{ document.info.version }}</h1>
<p>Every route but those marked open takes the access token as <code>Authorization: Bearer TOKEN</code>. For programs:
<code>/openapi.json</code>.</p>
{% for tag in document.tags %}<h2 id="{{ tag.name }}">{{ tag.name }}</h2>
{% for path, methods in document.paths.items() %}{% for method, told in methods.items() if tag.name in told.tags %}
<details><summary><code>{{ 'WS' if told.get('x-websocket') else method | upper }} {{ path }}</code> {{ told.summary }}
{%- if told.get('security') == [] %} <small>open</small>{% endif %}</summary>
{%- for parameter in told.get('parameters', []) %}
<p><code>{{ parameter.name }}</code> <small>in the {{ parameter['in'] }}</small> {{ kind(parameter.schema) }}</p>
{%- endfor %}
{%- if told.get('requestBody') %}{% for media, content in told.requestBody.content.items() if loop.first %}
{%- set schema = content.schema %}
{{ fields(schema) }}{% endfor %}{% endif %}
<table>{% for status, answer in told.responses.items() %}
<tr><td><code>{{ status }}</code><td>{{ answer.description }}
<td><small>{{ answer.get('content', {}) | join(', ') }}</small>{% endfor %}
</table></details>{% endfor %}{% endfor %}{% endfor %}
<h2 id="objects">Objects</h2>
{% for name, schema in document.components.schemas.items() if schema.get('properties') %}
<details id="{{ name }}"><summary><code>{{ name }}</code></summary>{{ fields(schema) }}</details>{% endfor %}
"""
)
