"""What every part stands on: errors, options, files, jobs, programs, progress."""
