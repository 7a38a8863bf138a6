# recursive make with a jobserver
# needs: make
printf 'all: a b\na b:\n\t+@$(MAKE) -s in N=$@\nin:\n\t@sleep @REST@; echo $(N)\n' >Makefile
make -j3 all >/dev/null
