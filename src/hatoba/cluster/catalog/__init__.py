"""Images of the embedded cluster: which program of this machine an image's name stands for.

`images` parses names and looks them up; `programs` knows our own image and the database servers;
`postgresql` and `redis` are launchers that keep the contracts of the sclorg images.
"""
