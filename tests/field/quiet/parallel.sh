# GNU parallel with slow jobs
# needs: parallel
parallel --will-cite -j2 sleep ::: @REST@ 4 1
