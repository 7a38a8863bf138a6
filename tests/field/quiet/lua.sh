# lua reads from a slow child
# needs: lua5.4
lua5.4 -e 'local p = io.popen("sleep @REST@; echo ok"); p:read("a"); p:close()'
