"""Where tool calls run: one executor process per session, inside bubblewrap.

`client.py` is the whole interface for running tools, `stored_files.py` reads what a session stored. The files named in
`bubblewrap.INSIDE`, `executor.py` first, run inside the sandbox, which sees nothing else of this repository: they
import the standard library, the SDK and each other. Everything else here runs in the worker.
"""
