# cmake: configure, build, ctest
# needs: cmake make cc
printf 'cmake_minimum_required(VERSION 3.10)\nproject(q C)\nadd_executable(q q.c)\nenable_testing()\nadd_test(NAME slow COMMAND sleep @REST@)\n' >CMakeLists.txt
echo 'int main(void) { return 0; }' >q.c
cmake -S . -B b >/dev/null && cmake --build b >/dev/null && (cd b && ctest >/dev/null)
