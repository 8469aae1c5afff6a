"""Models at hand: who is resident, the thread that steps their engines, and requests on their way to them."""

from app.inference.pool.options import Options
from app.inference.pool.pool import Pool
from app.inference.pool.tools import Tools

__all__ = ["Options", "Pool", "Tools"]
