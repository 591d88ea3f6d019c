"""What may be done with rows: by the licences of their sources, and by the terms of the models that wrote them."""
