# pip gets a package
# needs: python:pip
"$PY" -m pip download -q --disable-pip-version-check --no-deps -d . six; sleep 3
