"""The Python API: what a script or a notebook calls. `import edgenas` shows all of it; nothing here prints to stdout.

    study = edgenas.search("digits", target="jetson", max_params=30_000)
    final = study.train(seeds=1)
    bundle = study.export("bundle")

Every mistake is an `EdgenasError` of one line. Interrupted (Ctrl-C, or the stop button of a notebook), the same call goes on.
"""
