# make -j4 with quiet recipes, through tee
# needs: make
printf 'all: a b c\na b c:\n\t@sleep @REST@; echo $@\n' >Makefile
make -j4 all | tee log >/dev/null
