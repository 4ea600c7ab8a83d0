"""How the house model is judged (docs/explanation/house-model.md section 5): numbers with their controls."""
