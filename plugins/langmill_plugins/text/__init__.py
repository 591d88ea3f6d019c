"""What a text is made of: wording, words, shingles, scripts, languages; shared by parts of several kinds."""
