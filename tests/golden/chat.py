#!/usr/bin/env python3
"""Writes tests/fixtures/chat/templates.json: what transformers' apply_chat_template gives for templates and conversations.

Usage: chat.py [to]; needs transformers 5 and jinja2. The templates are written for this test; together they have the
constructs of real ones. `strftime_now` says 26 July 2024, as the engine's does: a result must not depend on the day.
"""

import datetime
import json
import sys

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils as rendering


class FixedDay(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26)


rendering.datetime = FixedDay

user = lambda content, **more: {"role": "user", "content": content, **more}
assistant = lambda content, **more: {"role": "assistant", "content": content, **more}
system = lambda content, **more: {"role": "system", "content": content, **more}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather at a <place> & more, say Zürich's \"old town\".",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string", "description": "Where.", "enum": ["Zürich", "東京"]},
                    "days": {"type": "integer", "default": 3, "minimum": 1},
                    "exact": {"type": ["boolean", "null"], "default": None},
                },
                "required": ["place"],
            },
        },
    },
    {"type": "function", "function": {"name": "noop", "description": "", "parameters": {}}},
]
CALL = {"type": "function", "id": "call_1", "function": {"name": "get_weather", "arguments": {
    "place": "東京", "days": 2, "exact": True, "unit": None, "ratio": 0.5, "big": 1e20, "small": 1e-7, "list": [1, [2, {"z": 1, "a": 2}]],
}}}
TEXTCALL = {"type": "function", "function": {"name": "noop", "arguments": '{"b": 1, "a": [2]}'}}

CONVERSATIONS = {
    "two": {"messages": [user("Hi there"), assistant("Hello, you.")]},
    "four": {"messages": [system("Be kind."), user("Hi."), assistant(" Hello. \n"), user("  Who?\t"), assistant("Lily.")]},
    "odd letters": {"messages": [system(""), user("a <b> & \"c\" 'd' \\ {{ e }} {% f %}\r\nü 東京 🎈"), assistant("İß ﬁ\u00a0ǆ\u2028x\x85y\x1cz")]},
    "tools": {"messages": [system("Use tools."), user("Weather?"), assistant(None, tool_calls=[CALL]), {"role": "tool", "name": "get_weather", "tool_call_id": "call_1", "content": "{\"degrees\": 21}"}, assistant("21 degrees."), user("And?"), assistant("", tool_calls=[CALL, TEXTCALL])], "tools": TOOLS},
    "answer first": {"messages": [assistant("I am Lily."), user("Hi."), assistant("Hello.")]},
    "parts": {"messages": [user([{"type": "text", "text": "Look: "}, {"type": "image", "path": "x.png"}, {"type": "text", "text": "What is it?"}]), assistant([{"type": "text", "text": "A ball."}])]},
    "thinking": {"messages": [user("1+1?"), assistant("<think>\nI add.\n</think>\n\n2"), user("2+2?"), assistant("4", thinking="I add\nagain."), user("3+3?"), assistant("<think></think>6", reasoning_content="")]},
    "question": {"messages": [user("Hi."), assistant("Yes?"), user("Bye.")]},
    "values": {"messages": [user(3), assistant(2.50), user(True), assistant(["x", 1, None, 1e16, 1e-5, -0.0])]},
    "roles": {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "User", "content": "Hi."}, {"role": "model", "content": "Hello."}, {"role": "user", "content": "x"}]},
    "no content": {"messages": [{"role": "user"}, {"role": "assistant", "content": "Yes."}]},
    "long": {"messages": [system("Count.")] + [turn for i in range(6) for turn in (user(f"{i}?"), assistant(f"{i}! " * (i % 3)))]},
}

G = "{% generation %}"
E = "{% endgeneration %}"
LOOP = "{% for m in messages %}"
END = "{% endfor %}"
TEMPLATES = {
    "chatml": LOOP + "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}" + END + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "brackets": "{{ bos_token }}{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'].strip() + ' [/INST]' }}{% elif m['role'] == 'assistant' %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "system first": "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{{ message.role }}: {{ content }}|{% endfor %}",
    "generation": LOOP + "{% if m.role == 'assistant' %}A: " + G + "{{ m.content }}{{ eos_token }}" + E + "\n{% else %}{{ m.role }}: {{ m.content }}\n{% endif %}" + END,
    "generation, trimmed": """
{%- for m in messages -%}
    {%- if m.role == 'assistant' -%}
        {{- '<a>' -}}
        {%- generation -%}
            {{- m.content | trim }}
            {{ eos_token -}}
        {%- endgeneration -%}
    {%- else -%}
        {{- '<' ~ m.role ~ '>' ~ (m.content | trim) }}
    {%- endif -%}
{% endfor %}
""",
    "generation, lines": """{% for m in messages %}
{% if m.role == 'assistant' %}
<a>
    {% generation %}
    {{ m.content }}
    {% if loop.last %}
    the end
    {% endif %}
    {% endgeneration %}
</a>
{% elif m.role != 'tool' %}
{{ m.role }} {{ m.content }}
{% endif %}
{% endfor %}""",
    "generation, scope": "{% set ns = namespace(n=0) %}{% set x = 'out' %}" + LOOP + "{% if m.role == 'assistant' %}" + G + "{% set x = 'in' %}{% set ns.n = ns.n + 1 %}{{ x }}{{ ns.n }}{% for c in m.content[:3] %}{{ c }}{{ loop.index }}{% endfor %}{{ loop.index }}" + E + "{% endif %}{{ x }}" + END,
    "namespace": "{% set ns = namespace(found=false, text='', count=0) %}" + LOOP + "{% if m.role == 'user' %}{% set ns.found = true %}{% set ns.count = ns.count + 1 %}{% endif %}{% set ns.text = ns.text ~ m.role[0] %}" + END + "{{ ns.found }} {{ ns.count }} {{ ns.text }}",
    "last query": """{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<r>') and message.content.endswith('</r>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content if message.content is string else '' %}
    {%- if message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}
            {{- '[' + message.role + ']\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '[' + message.role + ']\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<end>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '[user]' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + content + '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<end>\\n' }}{%- endif %}
    {%- else %}
        {{- '[' + message.role + ']\\n' + content + '<end>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '[assistant]\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}""",
    "tojson": "{{ tools | tojson }}|{{ messages | tojson }}|{{ messages[0] | tojson(indent=2) }}|{{ messages[-1]|tojson(indent=4, ensure_ascii=True) }}|{{ messages[-1]|tojson(sort_keys=True, separators=(',', ':')) }}|{{ {} | tojson }}{{ [] | tojson(indent=2) }}{{ {'b': (1, 2), 'a': {3: none, none: 4, true: false, 1.5: 'x'}} | tojson }}{{ [[], {}, [1]] | tojson(indent=1) }}{{ '\\x7f\\u2028\\t/\"' | tojson }}",
    "repr": "{{ messages }} {{ tools }} {{ messages[0].keys() | list }} {{ (1, 'a') }} {{ (1,) }} {{ () }} {{ {} }} {{ {'a': \"it's\", 'b': 'say \"x\"', 'c': 'it\\'s \"x\"', 1: none} }} {{ [true, none, 1.0, 1e100, 0.1 + 0.2] }}",
    "tests": "{% for m in messages %}{{ m.content is defined }},{{ m.content is undefined }},{{ m.content is none }},{{ m.content is string }},{{ m.content is mapping }},{{ m.content is iterable }},{{ m.content is sequence }},{{ m.content is number }},{{ m.content is integer }},{{ m.content is float }},{{ m.content is boolean }},{{ m.content is true }},{{ m.content is false }},{{ m.x is defined }},{{ m is mapping }},{{ m is sequence }},{{ m is iterable }},{{ m.tool_calls is defined }},{{ m.content is callable }};{% endfor %}{{ tools is none }}{{ tools is defined }}{{ documents is none }}{{ nothing is none }}{{ 3 is odd }}{{ 3 is even }}{{ 9 is divisibleby 3 }}{{ 'A' is upper }}{{ 'a' is lower }}{{ 3 is eq 3 }}{{ 3 is gt(2) }}{{ 3 is ne 3 }}{{ 2 is in [1, 2] }}{{ none is sameas none }}{{ 'x' is filter }}{{ 'trim' is filter }}{{ 'odd' is test }}",
    "string methods": "{% for m in messages %}{% if m.content is string %}{% set c = m.content %}{{ c.upper() }}|{{ c.lower() }}|{{ c.title() }}|{{ c.capitalize() }}|{{ c.strip() }}|{{ c.lstrip() }}|{{ c.rstrip() }}|{{ c.strip('.H ') }}|{{ c.split() }}|{{ c.split('l') }}|{{ c.split('l', 1) }}|{{ c.splitlines() }}|{{ c.replace('l', 'LL') }}|{{ c.replace('l', 'LL', 1) }}|{{ c.startswith('H') }}|{{ c.startswith(('H', ' ')) }}|{{ c.endswith('.') }}|{{ c.find('l') }}|{{ c.rfind('l') }}|{{ c.count('l') }}|{{ c.isdigit() }}|{{ c.isalpha() }}|{{ c.isupper() }}|{{ '-'.join(['a', c]) }}|{{ c | length }}|{{ c[0] }}{{ c[-1] }}{{ c[1:3] }}{{ c[::-1] }}{{ c[-3:] }}\n{% endif %}{% endfor %}",
    "rare string methods": "{% set c = messages[0].content %}{{ c.partition(' ') }}{{ c.rpartition('e') }}{{ c.rsplit(' ', 1) }}{{ c.removeprefix('H') }}{{ c.removesuffix('.') }}{{ c.center(20, '*') }}{{ c.ljust(12) }}|{{ c.rjust(12) }}{{ c.zfill(12) }}{{ c.swapcase() }}{{ c.casefold() }}{{ c.index('i') }}{{ c.isspace() }}{{ c.isalnum() }}",
    "rarest string methods": "{{ 'a\tb'.expandtabs(4) }}",
    "format": "{{ '%s is %d and %5.2f|%-6s|%06d|%x|%%' | format('a', 3, 2.5, 'b', 42, 255) }} {{ 'x{}y{}'.format(1, 'a') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{a:>5}|{b:.2f}|{c:05d}|{d:<4}|{e:^5}|{f:,}'.format(a='x', b=3.14159, c=7, d='y', e='z', f=1234567) }}",
    "percent": "{{ 'a%sb' % 'c' }} {{ '%s-%s' % (1, 'x') }}",
    "format, repr": "{{ '{!r}'.format('q') }}",
    "numbers": "{{ 1 }} {{ 1.0 }} {{ 1e16 }} {{ 1e15 }} {{ 123456789012345680.0 }} {{ 1e-5 }} {{ 0.0001 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 4 / 2 }} {{ 3 * 1.0 }} {{ 10 ** 20 }} {{ 7.5 // 2 }} {{ 1_000 }} {{ 0x1f }} {{ 1 + true }} {{ 'ab' * 3 }} {{ [1, 2] * 2 }} {{ [1] + [2] }} {{ 3 | string + 'x' }} {{ 5 | float }} {{ '7' | int + 1 }} {{ 'x' | int(9) }} {{ 2.7 | int }} {{ 2.5 | round }} {{ 2.567 | round(2) }} {{ 2.1 | round(0, 'ceil') }} {{ -3 | abs }} {{ [3, 1, 2] | sum }} {{ [3, 1, 2] | max }} {{ [3, 1, 2] | min }} {{ 1 < 2 < 3 }} {{ 1 == 1.0 }} {{ 1.5e3 | int }} {{ 1e22 | int }}",
    "logic": "{{ not none }} {{ none or 'x' }} {{ '' or 'y' }} {{ 'a' and 'b' }} {{ 0 and 'b' }} {{ [] or {} }} {{ 'x' if false }}|{{ 'x' if 0 else 'y' }} {{ nothing }}|{{ nothing or 'd' }} {{ none }} {{ true }} {{ True }} {{ None }} {{ False }} {{ 'a' in 'abc' }} {{ 'a' not in ['b'] }} {{ 'role' in messages[0] }} {{ 1 in {1: 2} }} {{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1, 'b'] }} {{ 'a' < 'b' }} {{ 'a' == \"a\" }} {{ [1, 2] == [1, 2] }} {{ (1, 2) == [1, 2] }} {{ {} == {} }} {{ 'a' 'b' }}",
    "filters": "{% set l = ['b', 'a', 'C', 'b'] %}{{ l | sort }}{{ l | sort(reverse=true) }}{{ l | sort(case_sensitive=true) }}{{ l | unique | list }}{{ l | reverse | list }}{{ l | join(', ') }}{{ l | first }}{{ l | last }}{{ l | length }}{{ l | count }}{{ l | map('upper') | list }}{{ l | map('length') | join }}{{ l | select('eq', 'b') | list }}{{ l | reject('in', ['b']) | list }}{{ l | batch(2) | list }}{{ l | slice(3) | list }}{{ l | batch(3, '-') | list }}{{ 'hello world' | title }}{{ 'hELLO' | capitalize }}{{ 'x' | upper }}{{ 'X' | lower }}{{ ' x ' | trim }}{{ 'xxaxx' | trim('x') }}{{ 'abc' | reverse }}{{ 'abc' | list }}{{ 'a-b' | replace('-', '+') }}{{ nothing | default('d') }}{{ '' | default('d') }}{{ '' | default('d', true) }}{{ none | d('e') }}{{ 'a\nb\n\nc' | indent }}{{ 'a\nb\n\nc' | indent(2, true) }}{{ 'a\nb\n\nc' | indent(width='> ', blank=true) }}{{ 'one two' | wordcount }}{{ '<a>' | escape }}{{ '<a>' | e }}{{ '<a>' | safe }}{{ 42 | string }}{{ 'ab' | center(6) }}|{{ [[1, 2], [3]] | sum(start=[]) }}",
    "rare filters": "{{ 'abcdef ghi' | truncate(6) }}{{ 'a b' | urlencode }}{{ '<b>x</b>' | striptags }}{{ 'a b c' | wordwrap(3) }}",
    "attributes": "{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | selectattr('role', 'eq', 'user') | map(attribute='role') | join('/') }}{{ messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='role') | list }}{{ messages | map(attribute='content') | first }}{{ messages | map(attribute='nothing', default='-') | join }}{{ (messages | selectattr('role', '==', 'user') | list)[-1].role }}{{ messages | selectattr('tool_calls', 'defined') | list | length }}{{ messages | selectattr('tool_calls') | list | length }}{% for group in messages | groupby('role') %}{{ group.grouper }}={{ group.list | length }}{{ group[0] }};{% endfor %}{{ messages | map(attribute='role') | unique | sort | join(',') }}{{ messages | sort(attribute='role') | map(attribute='role') | join(',') }}",
    "dicts": "{% set d = {'b': 1, 'a': [2, 3], 'C': {'x': none}} %}{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for k, v in d | items %}{{ k }}:{{ v }},{% endfor %}{% for k, v in d | dictsort %}{{ k }}{{ v }}{% endfor %}{% for k, v in d | dictsort(case_sensitive=true, reverse=true) %}{{ k }}{% endfor %}{{ d.get('b') }}{{ d.get('z') }}{{ d.get('z', 9) }}{{ d['a'][-1] }}{{ d.C.x }}{{ d.values() | list }}{{ d.keys() | list }}{{ d | length }}{{ 'a' in d }}{{ d.items() | list }}{{ dict(a=1, b=2) }}{{ dict([('x', 1)]) }}{{ d.zzz is defined }}{% for t in tools or [] %}{% for name, p in t.function.parameters.properties | default({}) | items %}{{ name }}({{ p.type }}){% endfor %}{% endfor %}",
    "loops": LOOP + "{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem.role if loop.previtem is defined else '-' }}{{ loop.nextitem.role if loop.nextitem is defined else '-' }}{{ loop.cycle('a', 'b') }}{{ loop.changed(m.role) }}{{ loop.depth }};" + END + "{% for x in [] %}x{% else %}none{% endfor %}{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }} {% endfor %}{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}{% for m in messages %}{% if loop.index == 2 %}{% continue %}{% endif %}{% if loop.index == 4 %}{% break %}{% endif %}{{ m.role }}{% endfor %}",
    "macros": "{% macro say(role, text='none', *, x=1) %}{% endmacro %}{{ say('a') }}",
    "macros, plain": "{% macro say(role, text='none') %}<{{ role }}>{{ text }}{% endmacro %}{% for m in messages %}{{ say(m.role, m.content) }}{{ say(m.role) }}{% endfor %}{{ say('a', text='b') }}{% macro outer() %}[{{ caller() }}]{% endmacro %}{% call outer() %}in{% endcall %}{% macro typed(p) -%}{%- if p.type == 'array' -%}{{ typed(p.of) }}[]{%- else -%}{{ p.type }}{%- endif -%}{%- endmacro %}{{ typed({'type': 'array', 'of': {'type': 'array', 'of': {'type': 'int'}}}) }}",
    "macros, more arguments": "{% macro say(role) %}<{{ role }}>{{ varargs }}{{ kwargs }}{% endmacro %}{{ say('a', 'b', 'c', d=1) }}",
    "set blocks": "{% set x %}  a{{ messages | length }}  {% endset %}[{{ x }}][{{ x | trim }}]{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set y = [1] + [2] %}{{ y }}{% filter upper %}abc{% endfilter %}{% with z = 5 %}{{ z }}{% endwith %}{{ z is defined }}{% if true %}{% set q = 1 %}{% endif %}{{ q }}{% for i in [1] %}{% set q = 2 %}{% endfor %}{{ q }}",
    "trimming": "  {% if true %}\n  a\n    {%- if true %}\n b\n {% endif -%}   c\n\n{# note #}\n d {#- x -#} e\n{%+ if true %} f{% endif +%}\n{% endif %} g{{ '\\n' }}\n\n{{- ' h' -}}   \n i\n   {% raw %} {{ j }} {% endraw %}\n k  \n",
    "spaces": "\n\n{{ bos_token }}\n{% for m in messages %}\n\n    {{ m.role }}\n  {%- if not loop.last %}\n,\n  {%- endif %}\n\t{% endfor %}  \n\n",
    "slices": "{{ messages[1:] | length }}{{ messages[:-1] | length }}{{ messages[-1].role }}{{ messages[::2] | length }}{{ messages[0]['role'] }}{{ messages[-2:] | map(attribute='role') | join(',') }}{{ (messages | list)[0].role }}{{ messages | length - 1 }}{{ messages[messages | length - 1].role }}{{ 'abc'[1] }}{{ [1, 2, 3][-1] }}{{ (1, 2, 3)[1:] }}{{ [1, 2, 3][::-1] }}{{ [1, 2, 3][5:] }}{{ messages[99] is defined }}{{ messages[99] }}",
    "content parts": LOOP + "{{ m.role }}: {% if m.content is string %}{{ m.content }}{% elif m.content is iterable and m.content is not mapping %}{% for part in m.content %}{% if part.type == 'image' or 'image' in part %}<image>{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% else %}{{ raise_exception('what is it?') }}{% endif %}\n" + END,
    "strftime": "{{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y-%m-%d') }} {{ strftime_now('%A, %B %d, %Y %H:%M:%S %p %j %y %a %I %%') }}{% if strftime_now is defined %}{% set date_string = strftime_now('%d %B') %}{% endif %}{{ date_string }}",
    "raises": LOOP + "{% if m.role not in ['user', 'assistant', 'system', 'tool'] %}{{ raise_exception('Unknown role: ' + m.role) }}{% endif %}{{ m.role }}" + END,
    "special tokens": "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token is defined }}{{ sep_token is defined }}{{ image_token }}{{ bos_token + eos_token }}{{ tools is defined }}{{ add_generation_prompt }}{{ enable_thinking is defined }}",
    "undefined": LOOP + "{{ m.nothing }}{{ m.nothing is defined }}{{ m['nothing'] | default('x') }}{% if m.nothing %}y{% endif %}{% if m.nothing == none %}n{% endif %}{% for x in m.nothing %}z{% endfor %}{{ m.nothing | length }}{{ m.nothing | list }}" + END,
    "undefined attribute": "{{ messages[0].nothing.more }}",
    "undefined added": "{{ 'a' + messages[0].nothing }}",
    "undefined called": "{{ nothing('x') }}",
    "none added": "{{ 'a' + none }}",
    "number added": LOOP + "{{ m.role + 1 }}" + END,
    "unknown filter": "{% if false %}{{ 'a' | nonesuch }}{% endif %}b",
    "unknown test": "{% if false %}{{ 'a' is nonesuch }}{% endif %}b",
    "unknown method": "{{ 'a'.nonesuch() }}",
    "division by zero": "{{ 1 / 0 }}",
    "bad syntax": "{% for m in messages %}{{ m.role }}",
    "unknown tag": "{% nonesuch %}",
    "do": "{% do messages.append(1) %}{{ messages | length }}",
    "mutation": "{% set l = [1] %}{% set _ = l.append(2) %}{{ l }}",
    "underscore": "{{ messages.__class__ }}{{ ''.__class__.__name__ }}",
    "long headers": """{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not tools_in_user_message is defined %}
    {%- set tools_in_user_message = true %}
{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "1 Jan 2000" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<h>system</h>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: any\\n" }}
{%- endif %}
{{- "Today: " + date_string + "\\n\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<eot>" }}
{%- if tools_in_user_message and not tools is none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content']|trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
    {%- endif %}
    {{- '<h>user</h>\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<eot>"}}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<h>' + message['role'] + '</h>\\n\\n'+ message['content'] | trim + '<eot>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<h>assistant</h>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<eot>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<h>ipython</h>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<eot>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<h>assistant</h>\\n\\n' }}
{%- endif %}
""",
    "model role": "{{ bos_token }}\n{%- if messages[0]['role'] == 'system' -%}\n    {%- if messages[0]['content'] is string -%}\n        {%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}\n    {%- else -%}\n        {%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}\n    {%- endif -%}\n    {%- set loop_messages = messages[1:] -%}\n{%- else -%}\n    {%- set first_user_prefix = '' -%}\n    {%- set loop_messages = messages -%}\n{%- endif -%}\n{%- for message in loop_messages -%}\n    {%- if (message['role'] == 'assistant') -%}\n        {%- set role = 'model' -%}\n    {%- else -%}\n        {%- set role = message['role'] -%}\n    {%- endif -%}\n    {{ '<turn>' + role + '\n' + (first_user_prefix if loop.first else '') }}\n    {%- if message['content'] is string -%}\n        {{ message['content'] | trim }}\n    {%- elif message['content'] is iterable -%}\n        {%- for item in message['content'] -%}\n            {%- if item['type'] == 'text' -%}{{ item['text'] | trim }}{%- else -%}<img>{%- endif -%}\n        {%- endfor -%}\n    {%- else -%}\n        {{ raise_exception('Invalid content type') }}\n    {%- endif -%}\n    {{ '</turn>\n' }}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n    {{ '<turn>model\n' }}\n{%- endif -%}\n",
    "harmony": "{%- macro render_params(params) -%}\n{%- if params.properties -%}\n{ \n{%- for name, spec in params.properties.items() -%}\n{{ name }}{% if name not in (params.required or []) %}?{% endif %}: {{ spec.type if spec.type is string else spec.type | join(' | ') }}{% if spec.default is defined %} // default: {{ spec.default | tojson if spec.default is not string else spec.default }}{% endif %}{{ ', ' if not loop.last else ' ' }}\n{%- endfor -%}\n}\n{%- endif -%}\n{%- endmacro -%}\n{%- if tools -%}\n{%- for t in tools -%}\n{{ 'type ' + t.function.name + ' = (' + render_params(t.function.parameters) + ') => any;\n' }}\n{%- endfor -%}\n{%- endif -%}\n{%- for message in messages -%}\n{%- if message.role == 'assistant' -%}\n{%- if message.thinking and loop.last %}<analysis>{{ message.thinking }}<end>{% endif -%}\n{%- if 'tool_calls' in message -%}\n{%- set call = message.tool_calls[0] -%}\n{%- set call = call.function if call.function else call -%}\n<call to={{ call.name }}>{{ call.arguments | tojson }}<call>\n{%- else -%}\n<final>{{ message.content }}<end>\n{%- endif -%}\n{%- else -%}\n<{{ message.role }}>{{ message.content }}<end>\n{%- endif -%}\n{%- endfor -%}",
    "sum of lengths": "{% set ns = namespace(l=[]) %}{% for m in messages %}{% set ns.l = ns.l + [m.role | length] %}{% endfor %}{{ ns.l | sum }}{{ ns.l | join('+') }}{{ ns.l | max }}{{ (ns.l | sort)[0] }}",
}


def tokenizer(template):
    words = models.WordLevel({"<s>": 0, "</s>": 1, "<pad>": 2, "?": 3}, unk_token="?")
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(words), bos_token="<s>", eos_token="</s>", pad_token="<pad>", image_token="<img>",
        chat_template=template,
    )


def rendered(tok, talk, prompt):
    try:
        text = tok.apply_chat_template(talk["messages"], tools=talk.get("tools"), tokenize=False, add_generation_prompt=prompt)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:200]}
    return {"text": text}


def spans(template, talk):
    messages = rendering._alias_reasoning_fields(rendering._normalize_chat_messages(talk["messages"]))
    compiled = rendering._compile_jinja_template(template)
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "image_token": "<img>"}
    return rendering._render_with_assistant_indices(compiled, messages, talk.get("tools"), None, False, **tokens)[1]


def main():
    to = sys.argv[1] if len(sys.argv) > 1 else "tests/fixtures/chat/templates.json"
    cases = {}
    for name, template in TEMPLATES.items():
        tok = tokenizer(template)
        results = {}
        for talk, conversation in CONVERSATIONS.items():
            found = rendered(tok, conversation, False)
            if "text" in found:
                prompted = rendered(tok, conversation, True)
                if prompted != found:
                    found["prompted"] = prompted.get("text")
                if "generation" in name:
                    found["spans"] = spans(template, conversation)
            results[talk] = found
        cases[name] = {"template": template, "results": results}
    with open(to, "w", encoding="utf-8") as file:
        talks = {name: json.dumps(talk, ensure_ascii=False) for name, talk in CONVERSATIONS.items()}
        json.dump({"conversations": talks, "templates": cases}, file, ensure_ascii=False, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
