# unittest with a slow setUpClass and a subprocess
# needs: 
printf 'import subprocess, unittest\nclass T(unittest.TestCase):\n    def test_a(self): subprocess.run(["sleep", "@REST@"], check=True, capture_output=True)\n' >test_q.py
"$PY" -m unittest -q test_q 2>/dev/null
