"""`trimtab bench`: what the machine allows, what Trimtab takes of it, and the goals it is held against."""
