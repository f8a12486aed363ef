"""Starting and watching the processes of a development or test portal."""
