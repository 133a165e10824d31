"""Reading of long texts and answering of questions about them."""
