"""Advice: parameters, calibrations and doubt, from the data alone.

    from pyptv.advise.advice import measure
    from pyptv.advise.words import report
    print(report(measure(load_experiment("experiment"), (10000, 10099))))

or ``pyptv-advise experiment``. Needs scipy: ``pip install "pyptv-batch[advise]"``. docs/advice.md explains it.
"""
