"""Ways to find a schedule; each takes a Problem and gives devices and an order, judged by the one simulator."""
