# a task of Elixir is awaited
# needs: elixir
elixir -e 'Task.async(fn -> Process.sleep(@REST@000) end) |> Task.await(:infinity)'
