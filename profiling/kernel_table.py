#!/usr/bin/env python3
"""Writes a table of every shipped CUDA kernel, from what the compiler makes of it: no GPU is needed, and no speed claimed.

Usage: profiling/kernel_table.py BUILD [--arch 90] [--jobs N] [--output profiling/results/kernels-sm_90.md]

BUILD is a build folder that was configured with CUDA; its compile commands are repeated for one architecture up to PTX,
which is then assembled with `ptxas -v`. From ptxas come registers, static shared memory and spills; from the PTX the
largest block (__launch_bounds__), dynamic shared memory and counts of instructions (static: how many there are in the
code, not how often they run). Occupancy is worked out from those by the rules of the CUDA occupancy calculator.
"""

import argparse
import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

# What a multiprocessor has, by compute capability (CUDA C++ Programming Guide, "Technical Specifications per Compute
# Capability"): warps, blocks, bytes of shared memory, bytes of it that each block loses to the system.
MULTIPROCESSORS = {
    "80": (64, 32, 164 * 1024, 1024),
    "86": (48, 16, 100 * 1024, 1024),
    "89": (48, 24, 100 * 1024, 1024),
    "90": (64, 32, 228 * 1024, 1024),
    "100": (64, 32, 228 * 1024, 1024),
    "120": (48, 24, 100 * 1024, 1024),
}
REGISTERS = 64 * 1024  # of a multiprocessor
REGISTER_UNIT = 256  # a warp's registers are handed out in such pieces
SHARED_UNIT = 128

GLOBAL_128 = re.compile(r"\bld\.(?:volatile\.|relaxed\.\w+\.)?global[\w.:]*\.(?:v4\.[bfsu]32|v2\.[bfsu]64|b128)\b")
SHARED_128 = re.compile(r"\bld\.(?:volatile\.)?shared[\w.:]*\.(?:v4\.[bfsu]32|v2\.[bfsu]64|b128)\b")
COPY_128 = re.compile(r"\bcp\.async\.c[ag]\.shared[\w.:]*\.global[\w.:]* [^;]*, 16\b")


def compile_commands(build):
    """(source, command words up to the source, without what chooses architecture and output) of each kernel file."""
    path = build / "compile_commands.json"
    if not path.is_file():
        sys.exit(f"{path} is missing: configure a build with -DQUERN_CUDA=ON first")
    for entry in json.loads(path.read_text()):
        source = Path(entry["file"])
        if source.suffix != ".cu" or source.parent.name != "kernels" or "tests" in source.parts:
            continue
        words, kept = iter(shlex.split(entry["command"])), []
        for word in words:
            if word in ("-o", "-c"):
                next(words)
            elif not word.startswith(("--generate-code", "-arch", "-Xptxas")) and not word.endswith("ccache"):
                kept.append(word)
        yield source, kept, entry["directory"]


def run(command, directory):
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{shlex.join(command)}\n{result.stdout}{result.stderr}")
    return result.stdout + result.stderr


def entries_of(ptx):
    """Name and text of every kernel in a PTX file."""
    for match in re.finditer(r"^(?:\.visible |\.weak )?\.entry (\S+?)\(.*?^}", ptx, re.M | re.S):
        yield match.group(1), match.group(0)


def dynamic_shared(text):
    """Bytes that DynamicShared hands out, None where the launch decides, 0 where there is none."""
    if "quern_dynamic_shared" not in text:
        return 0
    marks = re.findall(r"// dynamic shared memory up to byte (\S+)", text)
    if not marks:
        return None
    value = re.search(rf"mov\.\w+\s+{re.escape(marks[-1])}, (\d+);", text)
    return int(value.group(1)) if value else None


def occupancy(arch, threads, registers, shared):
    """Warps resident on a multiprocessor."""
    max_warps, max_blocks, shared_bytes, reserved = MULTIPROCESSORS[arch]
    warps = -(-threads // 32)
    per_warp = -(-max(registers, 1) * 32 // REGISTER_UNIT) * REGISTER_UNIT
    # Warps are spread over four schedulers with a quarter of the registers each.
    by_registers = REGISTERS // 4 // per_warp * 4 // warps
    by_shared = shared_bytes // (-(-(shared + reserved) // SHARED_UNIT) * SHARED_UNIT)
    return min(max_blocks, max_warps // warps, by_registers, by_shared) * warps


def readable(symbol, arguments):
    """A kernel's own name and template arguments."""
    name = re.sub(r"^void ", "", arguments.get(symbol, symbol))
    name = re.sub(r"quern::kernels::cuda::|\(anonymous namespace\)::", "", name)
    depth, end = 0, len(name)
    for i, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            end = i
            break
    return re.sub(r"Tile<(\d+), (\d+)[^>]*>", r"\1x\2", name[:end].replace("__nv_bfloat16", "bf16"))


def demangled(symbols):
    result = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True)
    return dict(zip(symbols, result.stdout.splitlines()))


def table_of(source, command, directory, arch):
    """One row a kernel of a file."""
    ptxas = str(Path(command[0]).parent / "ptxas") if "/" in command[0] else "ptxas"
    with tempfile.TemporaryDirectory() as folder:
        ptx_file = f"{folder}/kernels.ptx"
        run([*command, f"-arch=compute_{arch}", "-ptx", str(source), "-o", ptx_file], directory)
        report = run([ptxas, f"-arch=sm_{arch}", "-v", ptx_file, "-o", os.devnull], directory)
        ptx = Path(ptx_file).read_text()
    rows = []
    for symbol, text in entries_of(ptx):
        found = re.search(rf"Compiling entry function '{re.escape(symbol)}'.*?(?=Compiling entry function|\Z)", report, re.S)
        used = found.group(0)
        number = lambda pattern: sum(int(n) for n in re.findall(pattern, used))  # noqa: E731
        bounds = re.search(r"\.maxntid (\d+)(?:, (\d+), (\d+))?", text)
        threads = 1
        for extent in bounds.groups() if bounds else ("1024",):
            threads *= int(extent or 1)
        registers, static = number(r"Used (\d+) registers"), number(r"(\d+) bytes smem")
        dynamic = dynamic_shared(text)
        rows.append({
            "file": source.name, "symbol": symbol, "threads": threads, "registers": registers, "static": static,
            "dynamic": dynamic, "spills": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
            "warps": occupancy(arch, threads, registers, static + (dynamic or 0)),
            "mma": len(re.findall(r"\bmma\.sync", text)), "ldmatrix": len(re.findall(r"\bldmatrix\.sync", text)),
            "global128": len(GLOBAL_128.findall(text)) + len(COPY_128.findall(text)),
            "shared128": len(SHARED_128.findall(text)),
        })
    return rows


def markdown(rows, arch, version):
    kib = lambda n: f"{n / 1024:.1f}" if n else "-"  # noqa: E731
    plain = lambda n: str(n) if n else "-"  # noqa: E731
    max_warps = MULTIPROCESSORS[arch][0]
    spilling = [r for r in rows if r["spills"]]
    lines = [
        f"# Kernels as compiled for sm_{arch}",
        "",
        f"Written by `profiling/kernel_table.py`; nvcc {version}. {len(rows)} kernels, "
        f"{len(spilling) or 'none'} of which spill{'s' if len(spilling) == 1 else ''} registers.",
        "",
        "Shared memory in KiB: static, and dynamic (`*`: the launch decides, and occupancy leaves it out). Occupancy: the most warps"
        f" of {max_warps} that a multiprocessor can hold at once, by",
        "registers, threads and shared memory. The last four columns count instructions in the code, not executions: mma.sync,"
        " ldmatrix, 16-byte loads from global memory",
        "(cp.async among them) and from shared memory.",
        "",
        "| kernel | threads | registers | spilled bytes | static | dynamic | occupancy | mma | ldmatrix | global 16 B | shared 16 B |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    file = ""
    for row in rows:
        if row["file"] != file:
            file = row["file"]
            lines.append(f"| **{file}** | | | | | | | | | | |")
        dynamic = "*" if row["dynamic"] is None else kib(row["dynamic"])
        lines.append(f"| `{row['name']}` | {row['threads']} | {row['registers']} | {plain(row['spills'])} | {kib(row['static'])} | "
                     f"{dynamic} | {row['warps']} ({100 * row['warps'] // max_warps} %) | {plain(row['mma'])} | "
                     f"{plain(row['ldmatrix'])} | {plain(row['global128'])} | {plain(row['shared128'])} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--arch", default="90", choices=MULTIPROCESSORS)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    commands = sorted(compile_commands(arguments.build))
    if not commands:
        sys.exit(f"{arguments.build} compiles no kernels with nvcc: configure it with -DQUERN_CUDA=ON")
    version = re.search(r"release ([\d.]+)", run([commands[0][1][0], "--version"], ".")).group(1)
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        rows = [row for part in pool.map(lambda c: table_of(*c, arguments.arch), commands) for row in part]
    names = demangled([row["symbol"] for row in rows])
    for row in rows:
        row["name"] = readable(row["symbol"], names)
    rows.sort(key=lambda r: (r["file"], r["name"]))
    output = arguments.output or Path(__file__).parent / f"results/kernels-sm_{arguments.arch}.md"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(markdown(rows, arguments.arch, version))
    print(f"{output}: {len(rows)} kernels, {sum(1 for r in rows if r['spills'])} with spills")


if __name__ == "__main__":
    main()
