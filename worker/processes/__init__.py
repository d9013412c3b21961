"""The processes of the Procfile, a file each: settings in, running until told to stop.

Each imports only what it needs, since start-up time is mostly imports.
"""
