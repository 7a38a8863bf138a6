# a new venv with a package of this folder
# needs: python3
mkdir q; echo >q/__init__.py; printf '[project]\nname = "q"\nversion = "1"\n' >pyproject.toml
python3 -m venv v && v/bin/pip -q --disable-pip-version-check list >/dev/null; sleep 3
