"""How the house model is judged (house-model.md section 5): numbers with their controls."""
