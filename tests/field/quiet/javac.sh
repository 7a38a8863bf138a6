# javac of many classes
# needs: javac
for n in $(seq 200); do echo "class C$n { int f(int x) { return x + $n; } }" >C$n.java; done
javac ./*.java
