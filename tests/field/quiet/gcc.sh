# gcc of a large file
# needs: gcc
"$PY" -c 'print("#include <stdio.h>"); [print(f"int f{n}(int x) {{ switch (x) {{ " + " ".join(f"case {k}: return x * {k} + {n};" for k in range(40)) + " } return 0; }") for n in range(1500)]; print("int main(void) { return f1(1); }")' >q.c
gcc -O2 q.c -o q
