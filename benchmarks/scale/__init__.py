"""How large does the database get, and how long do its views take, with very many tracks?"""
