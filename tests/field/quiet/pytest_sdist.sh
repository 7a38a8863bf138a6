# the test suite of a package from PyPI
# needs: python:pytest python:pip
"$PY" -m pip download -q --disable-pip-version-check --no-deps --no-binary :all: -d . more-itertools >/dev/null 2>&1
tar xzf ./*.tar.gz && cd more*/ && "$PY" -m pytest -q -p no:cacheprovider tests >/dev/null 2>&1
