# a pipeline at a limited rate
# needs: pv
head -c 60000 /dev/zero | pv -q -L 10k | cat >/dev/null
