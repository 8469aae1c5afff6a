throw new Error("a page that cannot be built");
