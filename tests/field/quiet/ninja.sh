# ninja with quiet edges
# needs: ninja
printf 'rule s\n command = sleep @REST@; touch $out\nbuild a: s\nbuild b: s\n' >build.ninja
ninja >/dev/null
