"""The sample catalog that `make demo` scores; see README.md beside this file."""
