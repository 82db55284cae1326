"""Videos as data: an image is one frame, and the columns `video` and `frame` say which.

`drawing` and `synthetic` draw videos whose motion is known, `files` decodes video files, `places` reads the order of
frames off their file names, and `watching` looks at decoded frames by the clip.
"""
