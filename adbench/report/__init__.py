"""The report of a run: figures as SVG inside one offline HTML file."""
