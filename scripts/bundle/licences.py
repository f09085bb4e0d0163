"""Prints the licences of all crates that the program is made of, each text once, from the sources that cargo built it of."""

import json
import pathlib
import subprocess

def said(*command: str) -> str:
    return subprocess.check_output(command, text=True)


host = next(line.split()[1] for line in said("rustc", "-vV").splitlines() if line.startswith("host:"))
wanted = ["--format-version=1", "--locked", "--offline", "--filter-platform", host]
metadata = json.loads(said("cargo", "metadata", *wanted))
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}

reached, waiting = set(), [metadata["resolve"]["root"]]
while waiting:
    node = waiting.pop()
    if node not in reached:
        reached.add(node)
        linked = (d for d in nodes[node]["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"]))
        waiting.extend(d["pkg"] for d in linked)
reached.remove(metadata["resolve"]["root"])

texts: dict[str, list[str]] = {}
for package in sorted((packages[id] for id in reached), key=lambda p: (p["name"], p["version"])):
    name = f"{package['name']} {package['version']}"
    print(f"{name}: {package['license'] or 'see its text below'} ({package['repository'] or 'no repository named'})")
    for file in sorted(pathlib.Path(package["manifest_path"]).parent.iterdir()):
        if file.is_file() and file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE")):
            texts.setdefault(file.read_text(errors="replace").strip(), []).append(name)

for text, names in texts.items():
    print(f"\n{'=' * 100}\nof {', '.join(names)}\n{'=' * 100}\n{text}")
