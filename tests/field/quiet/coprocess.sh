# a coprocess that answers late
# needs: bash
coproc C { read -r l; sleep @REST@; echo "$l"; }
echo hi >&"${C[1]}"; read -r answer <&"${C[0]}"
