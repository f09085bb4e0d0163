"""Writes how much memory each recipe plans into the column "memory" of recipes/README.md.

usage: python3 scripts/recipes/memory.py PROGRAM MODEL

PROGRAM is target/release/train; MODEL a folder with SmolLM2-135M-Instruct, which stands in for what recipes take from the hub, so that nothing is
fetched. Where the plan knows no figure of any stage (models that earlier rounds make), what stands in the index stays.
"""

import pathlib, re, subprocess, sys, tempfile

BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


def planned(program, model, recipe):
    """The greatest memory of a recipe's stages, in bytes; 0 where none is known."""
    text = re.sub(r'("?model"?\s*=\s*)"[^"@./]+/[^"]+"', rf'\1"{model}"', recipe.read_text())
    text = re.sub(r'command = \["\./[^]]*\]', 'command = ["true"]', text)
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / recipe.name
        copy.write_text(text)
        asked = [program, "--recipe", copy, "--dry-run", "--out", f"{folder}/run"]
        said = subprocess.run(asked, capture_output=True, text=True, cwd=recipe.parent.parent)
    found = re.findall(r"^#\s+memory: about ([\d.]+) ([kMG]B)", said.stdout, flags=re.M)
    return max((float(number) * BYTES[unit] for number, unit in found), default=0)


def main(program, model):
    recipes = pathlib.Path(__file__).parents[2] / "recipes"
    index = recipes / "README.md"
    lines = index.read_text().splitlines()
    for at, line in enumerate(lines):
        name = re.match(r"\| \[`([^`]+)`\]", line)
        if not name:
            continue
        size = planned(pathlib.Path(program).resolve(), pathlib.Path(model).resolve(), recipes / f"{name[1]}.toml")
        cells = line.strip("|").split("|")
        # What no plan can tell is left as it stands.
        known = cells[4].strip() if len(cells) > 4 else ""
        said = f"{size / 1e9:.1f} GB" if size else known
        lines[at] = "|" + "|".join(cells[:4] + [f" {said} "] + cells[5:]) + "|"
        print(name[1], said or "not known")
    index.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
