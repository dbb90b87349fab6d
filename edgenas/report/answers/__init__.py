"""What a person asks of a study, one file for each question. Sentences are plain text; `code` in backticks, which the page shows
as such."""
