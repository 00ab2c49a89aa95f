#!/usr/bin/env python3
"""The shipped programs are position independent, fully RELRO, and built with stack and buffer checks."""

import os
import subprocess
import sys

PROGRAMS = ["postern-agent", "postern-gateway", "postern-server", "postern"]


def readelf(option: str, path: str) -> str:
    return subprocess.run(["readelf", "-W", option, path], check=True, capture_output=True, text=True).stdout


def weaknesses(path: str) -> list[str]:
    header, segments, dynamic = readelf("-h", path), readelf("-l", path), readelf("-d", path)
    symbols = readelf("--dyn-syms", path)
    checks = {
        "is not position independent (PIE)": "DYN (" in header,
        "has no RELRO segment": "GNU_RELRO" in segments,
        "does not bind everything at the start (full RELRO)": "BIND_NOW" in dynamic or "NOW" in dynamic,
        "has an executable stack": "GNU_STACK" in segments
        and "RWE" not in next(line for line in segments.splitlines() if "GNU_STACK" in line),
        "has no stack protector": "__stack_chk_fail" in symbols,
        "is not fortified (_FORTIFY_SOURCE)": "_chk@" in symbols.replace("__stack_chk_fail", ""),
    }
    return [words for words, good in checks.items() if not good]


def main() -> int:
    failed = False
    for program in PROGRAMS:
        for weakness in weaknesses(os.path.join(os.environ["POSTERN_BIN"], program)):
            print(f"{program} {weakness}")
            failed = True
    # The canary: a program built with everything switched off must not pass.
    plain = os.path.join(os.environ["POSTERN_WORK"], "plain")
    source = b"int main(void) { return 0; }"
    subprocess.run(["gcc", "-x", "c", "-", "-o", plain, "-no-pie", "-fno-stack-protector", "-Wl,-z,norelro"],
                   input=source, check=True)
    if len(weaknesses(plain)) < 4:
        print(f"the canary passes: only {weaknesses(plain)} was noticed")
        failed = True
    return 1 if failed else 0


sys.exit(main())
