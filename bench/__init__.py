"""The figures this project holds, measured on an instance of its own: `make bench [ROW=name]`."""
