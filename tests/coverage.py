#!/usr/bin/python3
"""
Coverage of the series, from what gcov counted in the guests.

Needs:  logs of kernels with CONFIG_GCOV_KERNEL and their build folders
Prints: functions and lines of each file; each line that was not run, and why
        not, from coverage.reasons; exit code 1 if a function or more than 2 % of
        the lines of the driver were not run, or a reason is missing
Usage:  coverage.py TREE GCOV:BUILD:LOGS...
"""
import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

DRIVER = 'drivers/uio/uio_msix.c'
CORE = 'drivers/uio/uio.c'


def counted(gcov, build, logs):
    """The JSON of gcov for each file that each guest printed."""
    for name in sorted(os.listdir(logs)):
        if not name.endswith('.log'):
            continue
        text = open(os.path.join(logs, name), errors='replace').read()
        for data, body in re.findall(
                r'guest: coverage (\S+)\r?\n(.*?)guest: end', text, re.S):
            with tempfile.TemporaryDirectory() as work:
                notes = data.replace('.gcda', '.gcno')
                shutil.copy(os.path.join(build, 'drivers/uio', notes), work)
                with open(os.path.join(work, data), 'wb') as file:
                    file.write(base64.b64decode(body))
                yield json.loads(subprocess.run(
                    [gcov, '--json-format', '--stdout', data], cwd=work,
                    check=True, capture_output=True).stdout)


def source_lines(tree, path):
    return open(os.path.join(tree, path)).read().split('\n')


def added(tree, path):
    """The numbers of the lines that the series added to a file."""
    blame = subprocess.run(
        ['git', '-C', tree, 'blame', '-s', 'base..', '--', path],
        check=True, capture_output=True, text=True).stdout.split('\n')
    return {n for n, line in enumerate(blame, 1) if line and line[0] != '^'}


def main():
    tree = sys.argv[1]
    lines = {DRIVER: {}, CORE: {}}
    within = {DRIVER: {}, CORE: {}}
    functions = {DRIVER: {}, CORE: {}}
    guests = 0
    for spec in sys.argv[2:]:
        for report in counted(*spec.split(':')):
            guests += 1
            for file in report['files']:
                path = next((p for p in lines if file['file'].endswith(p)), '')
                for line in file['lines'] if path else ():
                    n = line['line_number']
                    lines[path][n] = lines[path].get(n, 0) + line['count']
                    within[path][n] = line.get('function_name', '')
                for function in file['functions'] if path else ():
                    key = (function['start_line'], function['name'])
                    functions[path][key] = (functions[path].get(key, 0) +
                                            function['execution_count'])
    if not lines[DRIVER]:
        sys.exit('error: no guest counted anything')

    # A function of the core counts if the series added its first line.
    ours = added(tree, CORE)
    lines[CORE] = {n: c for n, c in lines[CORE].items() if n in ours}
    functions[CORE] = {k: c for k, c in functions[CORE].items() if k[0] in ours}

    reasons = {}
    for line in open(os.path.join(os.path.dirname(__file__), 'coverage.reasons')):
        if line.strip() and line[0] != '#':
            code, why = line.rstrip('\n').split(' -- ')
            reasons[code] = why

    bad = 0
    print(f'{"":28}{"functions":>14}{"lines":>14}   times the most run line')
    for path in CORE, DRIVER:
        f, l = functions[path], lines[path]
        print(f'{path:28}{sum(c > 0 for c in f.values()):>7} of {len(f):3}'
              f'{sum(c > 0 for c in l.values()):>7} of {len(l):3}'
              f'   {max(l.values(), default=0)}')
    for path in CORE, DRIVER:
        text = source_lines(tree, path)
        for (_, name), count in sorted(functions[path].items()):
            if not count:
                bad += 1
                print(f'not run: {path}: {name}()')
        for n, count in sorted(lines[path].items()):
            if not count:
                code = f'{within[path][n]}: {text[n - 1].strip()}'
                bad += code not in reasons
                print(f'not run: {path}:{n}: {code}\n         ' +
                      reasons.get(code, f'NO REASON IS KNOWN for {n}: {code}'))
    done = sum(c > 0 for c in lines[DRIVER].values())
    percent = 100 * done / len(lines[DRIVER])
    print(f'lines: {percent:.1f} % of {DRIVER}')
    sys.exit(bad > 0 or percent < 98)


main()
