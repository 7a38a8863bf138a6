# meson: configure, build, test
# needs: meson ninja cc
printf "project('q', 'c')\nexecutable('q', 'q.c')\ntest('slow', find_program('sleep'), args: ['@REST@'])\n" >meson.build
echo 'int main(void) { return 0; }' >q.c
meson setup b >/dev/null && ninja -C b >/dev/null && meson test -C b >/dev/null
