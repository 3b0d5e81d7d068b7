"""One module for each row of the dashboard; each exports `panels()`."""
