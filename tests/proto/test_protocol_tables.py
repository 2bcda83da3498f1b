#!/usr/bin/python3 -B
"""docs/protocol/messages.md says what the code says: every message, field, rule and state."""

import difflib
import os
import subprocess
import sys

PAGE = "docs/protocol/messages.md"
TOOL = os.path.join(os.environ["HF_BUILD"], "tests", "protocol_tables")

code = subprocess.run([TOOL], check=True, capture_output=True, text=True).stdout
with open(PAGE, encoding="utf-8") as f:
    page = f.read()
if code != page:
    sys.stdout.writelines(difflib.unified_diff(page.splitlines(True), code.splitlines(True), PAGE,
                                               "the code"))
    print(f"\nwrite it anew: {TOOL} > {PAGE}")
    sys.exit(1)
