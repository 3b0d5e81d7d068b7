"""The pictures of the explanations, each drawn from what a command of the product has printed.

`make docs-pictures` runs the commands and draws; `python -m deploy.site.pictures.draw` draws.
"""
