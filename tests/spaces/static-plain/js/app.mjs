export const word = "abc";
