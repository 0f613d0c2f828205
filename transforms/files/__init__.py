"""Files on any file system that Beam knows: list them, read them, write them whole, delete them.

Come here if you need to touch a file. The other rooms do not open files by themselves.
"""
