"""Keep compiled images and generated headers between runs, and packs of images for other kernels."""
