# apt-get simulates an installation
# needs: apt-get
apt-get -s -q install bc >/dev/null; sleep 3
